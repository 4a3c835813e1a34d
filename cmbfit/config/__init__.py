"""A run's configuration: what a user writes, read strictly, merged into the defaults and checked, in one place."""

from cmbfit.config.load import config_path, load_config, shipped_configs

__all__ = ["config_path", "load_config", "shipped_configs"]
