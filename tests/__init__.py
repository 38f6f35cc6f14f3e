"""The tests: flat files that mirror the modules; each test name is a situation, each docstring an expectation."""
