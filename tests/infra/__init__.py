"""Lints and parses infra/ with tools in an environment of their own."""
