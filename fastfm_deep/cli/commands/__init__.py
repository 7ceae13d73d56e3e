"""The commands: their options and help; what they do stands in `fastfm_deep.cli`."""
