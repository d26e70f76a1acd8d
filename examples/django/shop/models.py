"""What the shop remembers."""

from django.db import models


class Order(models.Model):
    """An order, and whether its receipt was made."""

    number = models.CharField(max_length=40, unique=True)
    receipt = models.TextField(blank=True)
