"""One module per subcommand of `labkit`; `labkit.cli` names them and imports each on first use."""
