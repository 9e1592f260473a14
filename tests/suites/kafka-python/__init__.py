"""The package that the suite takes its tests for; its archive leaves this file out."""
