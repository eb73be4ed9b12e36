"""What layers remember between steps: declared as data, viewed by layers, managed for sequences."""
