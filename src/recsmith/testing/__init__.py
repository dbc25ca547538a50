"""Cases and conformance checks, shipped so that plug-ins elsewhere can be checked."""
