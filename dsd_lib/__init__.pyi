"""The public names and where they are; also what :mod:`dsd_lib` imports them by."""

from .backbones import Backbone as Backbone
from .backbones import load_backbone as load_backbone
from .descriptor import dsd as dsd
from .descriptor import dsd_norm as dsd_norm
from .gram import gram_matrix as gram_matrix
from .gram import patch_gram as patch_gram
from .images import image_from_array as image_from_array
from .images import load_image as load_image
from .images import sample_images as sample_images
from .images import to_array as to_array
from .losses import ContextualLoss as ContextualLoss
from .losses import DSDLoss as DSDLoss
from .losses import MultiScaleStyleLoss as MultiScaleStyleLoss
from .losses import PerceptualLoss as PerceptualLoss
from .losses import ProjectedDistributionLoss as ProjectedDistributionLoss
from .losses import StyleLoss as StyleLoss
from .losses import contextual_distance as contextual_distance
from .losses import dsd_distance as dsd_distance
from .losses import multiscale_style_distance as multiscale_style_distance
from .losses import perceptual_distance as perceptual_distance
from .losses import projected_distribution_distance as projected_distribution_distance
from .losses import style_distance as style_distance
from .no_reference import NoReferenceDSD as NoReferenceDSD
from .no_reference import Psi as Psi
from .no_reference import load_psi as load_psi
from .no_reference import naturalness as naturalness
from .resize import imresize as imresize
from .restoration.loss import RestorationLoss as RestorationLoss
from .restoration.restore import restore as restore

__version__: str
