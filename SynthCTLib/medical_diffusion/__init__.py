"""The Medical Diffusion family (Khader et al., Sci Rep 13:7303, 2023): 3D VQ-GAN and factorized latent diffusion.

Samples volumes without a segmentation. The MAISI family, which paints a segmentation, is in the modules one level up.
"""
