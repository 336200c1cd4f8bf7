"""GaussianDiffusion: the forward and the reverse process, and the losses that join them."""

import math
from typing import Literal, get_args

import torch
from einops import reduce
from jaxtyping import Float, Shaped
from torch import Tensor

from ddpm_lite.forward import _not_one_of
from ddpm_lite.gaussian import decoder_nll, gaussian_kl, gaussian_nll
from ddpm_lite.reverse import Model, Prediction, ReverseProcess

__all__ = ["GaussianDiffusion"]

Weight = Literal["simple", "variational", "min_snr"]


class GaussianDiffusion(ReverseProcess):
    """q, p_theta and their losses over one noise schedule.

    Args:
        schedule: the variances beta_1..beta_T.
        objective: what the model's output means; "eps", the noise in xt; "x0", the image; "v",
            between the two; "mu", the posterior's mean. `target` has their formulas.
        variance: sigma_t^2 of p_theta; "beta" or "beta_tilde", the two choices of Ho et al.
            (2020), Section 3.2, or "learned": the output has twice the channels, and the second
            half says where between the two log sigma_t^2 lies, -1 at beta_tilde and 1 at beta
            (Nichol and Dhariwal, 2021, Eq. 15).
        self_condition: the model is called as `(xt, t, x0_hat)` with an earlier estimate of x_0,
            or None (Chen, Zhang and Hinton, 2022).
        first_variance: sigma_1^2, which the decoder L_0 alone uses. By default beta_1; where
            beta_tilde is wanted, beta_tilde_2, since beta_tilde_1 is zero and has no logarithm.
        levels: grey levels of the data, for the decoder; None for data that are not discrete,
            whose L_0 is then a density's.

    Raises:
        ValueError: a choice that is not one of these.
    """

    def p_losses(
        self,
        model: Model,
        x0: Float[Tensor, "B *D"],
        t: int | Shaped[Tensor, " B"],
        eps: Float[Tensor, "B *D"] | None = None,
        weight: Float[Tensor, " times"] | None = None,
        condition: bool | None = None,
    ) -> Float[Tensor, " B"]:
        """The squared error of the model's output per sample, meaned over its dimensions.

        For "eps" that is L_simple, Eq. {eq}`eq-l-simple`; Ho et al. (2020), Eq. 14, which sums
        where this takes the mean. With a learned variance it is the hybrid loss, Eq.
        {eq}`eq-hybrid`: to it comes 0.001 times the bound in bits per dimension, estimated as T
        times its term at t, which trains the variance alone (Nichol and Dhariwal, 2021, Eq. 16).

        Args:
            model: `(xt, t) -> output`.
            x0: [B, ...] in [-1, 1].
            t: in 1..T.
            eps: [B, ...] standard normal noise; drawn when not given.
            weight: [T + 1] factors on the squared error, such as `loss_weight` makes.
            condition: with self-conditioning, whether the model first makes the estimate that
                it is then given; by default it does half the time.
        """
        t = self._check(t, x0=x0, eps=eps)
        eps = torch.randn_like(x0) if eps is None else eps
        xt = self.q_sample(x0, t, eps)
        output = self._answer(model, xt, t, condition)
        guess = output.chunk(2, dim=1)[0] if self.variance == "learned" else output
        error = (guess - self.target(self.objective, x0, xt, eps, t)) ** 2
        loss = reduce(error, "b ... -> b", "mean")
        if weight is not None:
            loss = loss * weight.to(loss).index_select(0, self._many(t, x0))
        if self.variance == "learned":
            frozen = torch.cat([guess.detach(), output.chunk(2, dim=1)[1]], dim=1)
            term = self.bound_term(self.p_from_output(frozen, xt, t), x0, xt, t)
            loss = loss + 0.001 * self.T * term / (math.log(2) * x0[0].numel())
        return loss

    def bound_losses(
        self,
        model: Model,
        x0: Float[Tensor, "B *D"],
        t: int | Shaped[Tensor, " B"],
        eps: Float[Tensor, "B *D"] | None = None,
        condition: bool | None = None,
    ) -> Float[Tensor, " B"]:
        """L_{t-1} itself as a loss, in nats per dimension: mean and variance both learn from it.

        The one way to train a learned variance that Ho et al. (2020) tried; their Eq. 5 and
        Table 2. With a fixed variance it is, for t > 1, `p_losses` with the variational weight
        and a constant. Arguments as for `p_losses`; x0_hat is not clipped.
        """
        t = self._check(t, x0=x0, eps=eps)
        eps = torch.randn_like(x0) if eps is None else eps
        xt = self.q_sample(x0, t, eps)
        out = self.p_from_output(self._answer(model, xt, t, condition), xt, t, clip=False)
        return self.bound_term(out, x0, xt, t) / x0[0].numel()

    def _answer(self, model: Model, xt: Tensor, t: int | Tensor, condition: bool | None) -> Tensor:
        """What the model says about xt, given half the time its own first estimate of x_0."""
        x0_prev = None
        if self.self_condition and (torch.rand(()) < 0.5 if condition is None else condition):
            with torch.no_grad():
                x0_prev = self.p_mean_variance(model, xt, t).x0_hat
        return self._call(model, xt, t, x0_prev)

    def bound_term(
        self,
        out: Prediction,
        x0: Float[Tensor, "B *D"],
        xt: Float[Tensor, "B *D"],
        t: int | Shaped[Tensor, " B"],
    ) -> Float[Tensor, " B"]:
        """L_{t-1} of the bound in nats per sample: a divergence for t > 1, L_0 at t = 1.

        KL(q(x_{t-1} | x_t, x_0) || p_theta(x_{t-1} | x_t)), and -log p_theta(x_0 | x_1).
        Ho et al. (2020), Eq. 5.
        """
        if isinstance(t, int):
            return self.decoder(out, x0) if t == 1 else self.kl(out, x0, xt, t)
        return torch.where(t == 1, self.decoder(out, x0), self.kl(out, x0, xt, t))

    def kl(self, out: Prediction, x0: Tensor, xt: Tensor, t: int | Tensor) -> Tensor:
        """L_{t-1} for t > 1, in nats, [B]: up to a constant, the distance of two means.

        Eq. {eq}`eq-kl-means`; Ho et al. (2020), Eqs. 8 and 10.
        """
        # At t = 1 there is no such term; the table's finite entry keeps gradients finite.
        variance = self._column("kl_beta_tilde", t, xt)
        return gaussian_kl(self._mu_tilde(x0, xt, t), variance, out.mean, out.variance)

    def decoder(self, out: Prediction, x0: Tensor) -> Tensor:
        """L_0 = -log p_theta(x_0 | x_1) in nats, [B]: the mass of the grey level of x_0.

        Ho et al. (2020), Eq. 13; the density where `levels` is None.
        """
        if self.levels is None:
            return gaussian_nll(x0, out.mean, out.variance)
        return decoder_nll(x0, out.mean, out.variance, self.levels)

    def loss_weight(self, kind: Weight, gamma: float = 5.0) -> Float[Tensor, " times"]:
        """Factors [T + 1] on this objective's squared error that make a named loss.

        For eps, the bound's is Eq. {eq}`eq-weight`.

        "simple": the error of eps, so that every objective is trained by L_simple (Ho et al.,
        2020, Eq. 14). "variational": the bound's own term L_{t-1} (for L_0, its density), in nats
        per dimension and up to a constant: beta_t^2 / (2 sigma_t^2 alpha_t (1 - alpha_bar_t)) for
        eps, Eq. {eq}`eq-eps-loss`; Ho et al. (2020), Eq. 12. "min_snr": the error of x0 times
        min(SNR, gamma), Eq. {eq}`eq-min-snr`; Hang et al. (2023). Entry 0 is NaN.

        Raises:
            ValueError: another kind; the variational weight of a learned variance, which is no
                function of t alone.
        """
        if kind not in get_args(Weight):
            raise ValueError(_not_one_of("kind", kind, get_args(Weight)))
        if kind == "variational" and self.variance == "learned":
            raise ValueError("the variational weight needs a fixed variance, got 'learned'")
        table, snr = self._tables64, self.schedule.snr
        on_x0 = {
            "simple": snr,
            "variational": table["mu_tilde_x0"] ** 2 / (2 * table["sigma2"]),
            "min_snr": snr.clamp(max=gamma),
        }[kind]
        return on_x0 * table[f"x0 per {self.objective}"] ** 2
