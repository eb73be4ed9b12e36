"""The `roundhouse` command. Each module adds its sub-commands; heavy imports wait for their use."""
