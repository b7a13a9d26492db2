"""python run_ncnn.py PARAM SIZE: the second inference by ncnn on one thread, with benchncnn's options."""

import sys

import ncnn
from marks import COUNT, FINISH, START_CACHES, mark

param, size = sys.argv[1], int(sys.argv[2])
net = ncnn.Net()
options = net.opt
options.lightmode = True
options.num_threads = 1
options.use_vulkan_compute = False
for name in (
    "use_winograd_convolution",
    "use_sgemm_convolution",
    "use_int8_inference",
    "use_fp16_packed",
    "use_fp16_storage",
    "use_fp16_arithmetic",
    "use_int8_storage",
    "use_int8_arithmetic",
    "use_packing_layout",
):
    setattr(options, name, True)
net.opt = options
if net.load_param(param) != 0:
    sys.exit(f"{param} can't be read")
weights = ncnn.DataReaderFromEmpty()
net.load_model(weights)
image = ncnn.Mat(size, size, 3)
image.fill(0.01)


def infer():
    extractor = net.create_extractor()
    extractor.input(net.input_names()[0], image)
    return extractor.extract(net.output_names()[0])


mark(START_CACHES)
infer()
mark(COUNT)
infer()
mark(FINISH)
