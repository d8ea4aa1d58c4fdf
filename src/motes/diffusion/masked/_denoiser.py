"""The one interface of everything that gives the distribution of masked columns, learned or exact."""

from abc import abstractmethod

import equinox as eqx
import jax


class MaskedDenoiser(eqx.Module):
    """log p(x_j | visible columns) for every column j; learned and exact ones share this interface.

    It has no time: which columns are visible says all (MD4, section 3).

    Example:
        >>> from motes.diffusion.masked import MaskedDenoiser
        >>> class Coins(MaskedDenoiser):
        ...     sizes: tuple[int, ...] = (2, 2)
        ...     def log_probs(self, codes, visible):
        ...         point_mass = jnp.where(jnp.arange(2) == codes[:, None], 0, -jnp.inf)
        ...         return jnp.where(visible[:, None], point_mass, jnp.log(0.5))
        >>> print(jnp.exp(Coins().log_probs(jnp.array([1, 0]), jnp.array([True, False]))))
        [[0. 1. ]
         [0.5 0.5]]
    """

    sizes: eqx.AbstractVar[tuple[int, ...]]
    """(K_1, ..., K_d), how many codes each column has."""

    @abstractmethod
    def log_probs(self, codes: jax.Array, visible: jax.Array) -> jax.Array:
        """log p(x_j = k | visible columns), (d, K): a point mass where column j is visible.

        Args:
            codes: (d,), integers; read at the visible columns alone.
            visible: (d,), booleans.

        Example:
            >>> from motes.diffusion.masked import EnumeratedOracle
            >>> equal = EnumeratedOracle([[0.5, 0.0], [0.0, 0.5]])
            >>> print(jnp.exp(equal.log_probs(jnp.array([1, 0]), jnp.array([False, False]))))
            [[0.5 0.5]
             [0.5 0.5]]
        """
