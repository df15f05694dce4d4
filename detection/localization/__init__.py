"""ImageNet localization (He et al. 2015, appendix C): a per-class RPN, and R-CNN on its proposals."""
