"""The worker process: owns one device, holds many models, speaks token ids only."""
