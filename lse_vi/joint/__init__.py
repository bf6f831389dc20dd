"""What a Pyro model says: its latents as one vector, and its log joint there.

Begin with :mod:`~lse_vi.joint.log_joint`. Guides and samplers see a model only through this room.
"""

from lse_vi.joint.log_joint import LogJoint

__all__ = ["LogJoint"]
