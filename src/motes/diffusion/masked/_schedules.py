"""Masking schedules: m(t), the share of columns that is masked at time t.

m(0) = 0,    m(1) = 1,    1 - m(t) is what Sahoo et al. 2024 (MDLM) and Shi et al. 2024 (MD4) write alpha_t
"""

from __future__ import annotations

import math
from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


class MaskedSchedule(eqx.Module):
    """m(t), which rises from m(0) = 0 to m(1) = 1; a new schedule is this and its inverse.

    Example:
        >>> from motes.diffusion.masked import MaskedSchedule
        >>> class Square(MaskedSchedule):
        ...     def share(self, t):
        ...         return jnp.asarray(t, float) ** 2
        ...     def t_of_share(self, share):
        ...         return jnp.sqrt(share)
        >>> print(Square().weight(0.5))  # m' / m
        4.0
    """

    @abstractmethod
    def share(self, t: ArrayLike) -> jax.Array:
        """m(t), the share of columns masked at time `t` in [0, 1].

        Example:
            >>> from motes.diffusion.masked import PolynomialMasking
            >>> print(PolynomialMasking(2.0).share(jnp.array([0.0, 0.5, 1.0])))
            [0. 0.25 1.  ]
        """

    @abstractmethod
    def t_of_share(self, share: ArrayLike) -> jax.Array:
        """The time in [0, 1] at which `share` of the columns is masked.

        Example:
            >>> from motes.diffusion.masked import PolynomialMasking
            >>> print(PolynomialMasking(2.0).t_of_share(0.25))
            0.5
        """

    def rate(self, t: ArrayLike) -> jax.Array:
        """m'(t), the derivative in t.

        Example:
            >>> from motes.diffusion.masked import PolynomialMasking
            >>> print(PolynomialMasking(2.0).rate(0.5))
            1.0
        """
        t = jnp.asarray(t, float)
        return jax.jvp(self.share, (t,), (jnp.ones_like(t),))[1]

    def weight(self, t: ArrayLike) -> jax.Array:
        """m'(t) / m(t), the weight of the cross-entropy for t > 0 (MD4, eq. 5, and table 4 with its sign changed).

        Example:
            >>> from motes.diffusion.masked import PolynomialMasking
            >>> print(PolynomialMasking(2.0).weight(0.5))  # m' / m = 1 / 0.25
            4.0
        """
        return self.rate(t) / self.share(t)


class LinearMasking(MaskedSchedule):
    """m(t) = t. MDLM calls it log-linear: linear is the share, and -log(1 - t) the integrated rate.

    Example:
        >>> from motes.diffusion.masked import LinearMasking
        >>> float(LinearMasking().weight(0.25))
        4.0
    """

    def share(self, t: ArrayLike) -> jax.Array:
        return jnp.asarray(t, float)

    def t_of_share(self, share: ArrayLike) -> jax.Array:
        return jnp.asarray(share, float)


class PolynomialMasking(MaskedSchedule):
    """m(t) = t^power (MD4, table 4). Equal steps of a sampler reveal few columns at first where 0 < power < 1.

    Raises:
        ValueError: a power that is not a finite number above 0.

    Example:
        >>> from motes.diffusion.masked import PolynomialMasking
        >>> print(PolynomialMasking(0.5).share(0.25))
        0.5
    """

    power: float = eqx.field(static=True)

    def __check_init__(self) -> None:
        if not 0 < self.power < math.inf:
            raise ValueError(f"got power = {self.power:g}; expected a finite number above 0; 1 is the linear schedule.")

    def share(self, t: ArrayLike) -> jax.Array:
        return jnp.asarray(t, float) ** self.power

    def t_of_share(self, share: ArrayLike) -> jax.Array:
        return jnp.asarray(share, float) ** (1 / self.power)


class CosineMasking(MaskedSchedule):
    """m(t) = cos(pi/2 (1 - t)), MD4, table 4. Equal steps of a sampler reveal few columns at first.

    Example:
        >>> from motes.diffusion.masked import CosineMasking
        >>> print(CosineMasking().share(0.5).round(3))
        0.707
    """

    def share(self, t: ArrayLike) -> jax.Array:
        return jnp.sin(jnp.pi / 2 * jnp.asarray(t, float))  # the same number, exact to the last digit near t = 0

    def t_of_share(self, share: ArrayLike) -> jax.Array:
        return 2 / jnp.pi * jnp.arcsin(jnp.asarray(share, float))
