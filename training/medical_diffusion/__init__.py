"""Training of the Medical Diffusion family: stages *vqgan*, *md-encode*, *md-diffusion*, *md-export*, *ms-ssim*."""
