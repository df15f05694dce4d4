"""Numbers that papers print, with where they stand. Errors are top-1, per cent."""

from typing import NamedTuple

HE_2015 = "He et al. 2015"
HE_2016 = "He et al. 2016, Identity mappings"


class Error(NamedTuple):
    """A published top-1 error in per cent, its source, and how it was measured."""

    value: float
    source: str
    protocol: str


# One row a network: the single-network error in the table that names it.
ERRORS = {
    "plain18": Error(27.94, f"{HE_2015}, Table 2", "ImageNet val, 10 crops"),
    "plain34": Error(28.54, f"{HE_2015}, Table 2", "ImageNet val, 10 crops"),
    "resnet18": Error(27.88, f"{HE_2015}, Table 2", "ImageNet val, 10 crops, option A"),
    "resnet34": Error(24.52, f"{HE_2015}, Table 3", "ImageNet val, 10 crops, option B"),
    "resnet50": Error(22.85, f"{HE_2015}, Table 3", "ImageNet val, 10 crops"),
    "resnet101": Error(21.75, f"{HE_2015}, Table 3", "ImageNet val, 10 crops"),
    "resnet152": Error(21.43, f"{HE_2015}, Table 3", "ImageNet val, 10 crops"),
    "vgg16": Error(28.07, f"{HE_2015}, Table 3", "ImageNet val, 10 crops"),
    "resnet20_cifar": Error(8.75, f"{HE_2015}, Table 6", "CIFAR-10 test"),
    "resnet32_cifar": Error(7.51, f"{HE_2015}, Table 6", "CIFAR-10 test"),
    "resnet44_cifar": Error(7.17, f"{HE_2015}, Table 6", "CIFAR-10 test"),
    "resnet56_cifar": Error(6.97, f"{HE_2015}, Table 6", "CIFAR-10 test"),
    "resnet110_cifar": Error(6.43, f"{HE_2015}, Table 6", "CIFAR-10 test, best of 5 (6.61 ± 0.16)"),
    "resnet1202_cifar": Error(7.93, f"{HE_2015}, Table 6", "CIFAR-10 test"),
    "highway19_cifar": Error(7.54, f"{HE_2015}, Table 6", "CIFAR-10 test, best (7.72 ± 0.16)"),
    "highway32_cifar": Error(8.80, f"{HE_2015}, Table 6", "CIFAR-10 test"),
    "preact_resnet110_cifar": Error(6.37, f"{HE_2016}, Table 3", "CIFAR-10 test"),
    "preact_resnet164_cifar": Error(5.46, f"{HE_2016}, Table 3", "CIFAR-10 test"),
    "preact_resnet1001_cifar": Error(4.92, f"{HE_2016}, Table 3", "CIFAR-10 test"),
}
