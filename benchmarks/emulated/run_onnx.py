"""python run_onnx.py MODEL LENGTH: the second inference by ONNX Runtime on one thread, between marks."""

import sys

import numpy as np
import onnxruntime
from marks import COUNT, FINISH, START_CACHES, mark

model, length = sys.argv[1], int(sys.argv[2])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
ids = np.random.default_rng(0).integers(1000, 30000, (1, length), dtype=np.int64)
feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
mark(START_CACHES)
session.run(None, feed)
mark(COUNT)
session.run(None, feed)
mark(FINISH)
