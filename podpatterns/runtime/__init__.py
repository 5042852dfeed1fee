"""What every runtime shares: configuration, supervision, phases, readiness, signals, admin endpoint, telemetry."""
