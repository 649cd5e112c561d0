"""Recorded files through the engine of the daemon, under a virtual clock; docs/replay.md describes what comes out."""
