"""`none`: everything in fp32."""

from spartanc.base.schemes.scheme import Scheme

NONE = Scheme(
    name="none",
    gates="exact",
    peak="fp32",
    fp32_weights_in_one=1,
    task_sizes={"logit_weights": {0: "blocks"}, "values": {1: "cells"}},
)
