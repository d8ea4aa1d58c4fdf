"""Every sampler by its name in recipes, on the command line and in `Model.sample`."""

from motes.sampling import _chains as chains
from motes.sampling import _diffusion as diffusion
from motes.sampling import _dpm as dpm
from motes.sampling import _flow as flow
from motes.sampling import _langevin as langevin
from motes.sampling._loop import Sampler

SAMPLERS: dict[str, type[Sampler]] = {
    **chains.SAMPLERS,
    **flow.SAMPLERS,
    **dpm.SAMPLERS,
    **diffusion.SAMPLERS,
    **langevin.SAMPLERS,
}
