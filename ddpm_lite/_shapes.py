"""The shapes that signatures speak of. B is the batch; times are the T + 1 entries 0..T."""

from jaxtyping import Float, Float64, Shaped
from torch import Tensor

Images = Float[Tensor, "B *D"]  # of any number of dimensions, in [-1, 1] where they are data
Column = Float[Tensor, "B *one"]  # a number for each image, [B, 1, ...], which multiplies it
PerImage = Float[Tensor, " B"]
PerTime = Float64[Tensor, " times"]
Time = int | Shaped[Tensor, " B"]  # one t for all images, or one for each, in 1..T
