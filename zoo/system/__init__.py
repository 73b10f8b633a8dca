"""What every room stands on: errors, files, locks, memory, signals, how pictures look."""
