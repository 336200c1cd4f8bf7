"""Sets of images: by name, from files, in memory; and pictures of them."""

from ddpm_lite.images.sets import ImageSet, load_images

__all__ = ["ImageSet", "load_images"]
