"""A small Django project whose tasks run in Taskrig."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = os.environ.get("SECRET_KEY", "only-for-the-example")
INSTALLED_APPS = ["taskrig.contrib.django", "shop"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SHOP_DATABASE", BASE_DIR / "shop.sqlite3"),
        "OPTIONS": {"timeout": 20},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

# The sections of config.yaml; the environment (TASKRIG_REDIS__URL) and flags go before them.
TASKRIG = {
    "redis": {"url": os.environ.get("REDIS_URL", "redis://localhost:6379/0")},
    "queue": {"key": "async_tasks"},
    "worker": {"max_concurrent": 5},
    "handlers": ["shop.tasks", "taskrig.handlers"],  # the second for add_test_tasks
    "http": {"port": 0},
}
