"""Tables 13 and 14 of He et al. 2015: localization on ImageNet."""
