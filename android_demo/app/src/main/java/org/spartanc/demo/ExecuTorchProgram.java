package org.spartanc.demo;

import java.io.File;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import org.pytorch.executorch.EValue;
import org.pytorch.executorch.Module;
import org.pytorch.executorch.Tensor;
import org.spartanc.core.InputException;
import org.spartanc.core.Program;
import org.spartanc.core.TaskTensor;

/** A program on the stock ExecuTorch archive. */
public final class ExecuTorchProgram implements Program {
  private final Module module;

  private ExecuTorchProgram(Module module) {
    this.module = module;
  }

  public static ExecuTorchProgram load(File file) throws InputException {
    try {
      return new ExecuTorchProgram(Module.load(file.getPath()));
    } catch (RuntimeException | LinkageError e) {
      throw new InputException("the program can't be loaded: " + e.getMessage(), e);
    }
  }

  @Override
  public float[] run(long[] ids, long[] mask, List<TaskTensor> tensors) throws InputException {
    long[] shape = {1, ids.length};
    EValue[] inputs = new EValue[2 + tensors.size()];
    try {
      inputs[0] = EValue.from(Tensor.fromBlob(ids, shape));
      inputs[1] = EValue.from(Tensor.fromBlob(mask, shape));
      for (int i = 0; i < tensors.size(); i++) inputs[2 + i] = EValue.from(tensor(tensors.get(i)));
      return module.forward(inputs)[0].toTensor().getDataAsFloatArray();
    } catch (RuntimeException e) {
      throw new InputException("the program can't be run: " + e.getMessage(), e);
    }
  }

  /** The tensor where it stands: a direct buffer is passed on without a copy. */
  private static Tensor tensor(TaskTensor given) throws InputException {
    ByteBuffer data = given.data.duplicate().order(ByteOrder.nativeOrder());
    switch (given.type) {
      case "F32":
        return Tensor.fromBlob(data.asFloatBuffer(), given.shape);
      case "I64":
        return Tensor.fromBlob(data.asLongBuffer(), given.shape);
      case "I32":
        return Tensor.fromBlob(data.asIntBuffer(), given.shape);
      case "I8":
        return Tensor.fromBlob(data, given.shape);
      case "U8":
        return Tensor.fromBlobUnsigned(data, given.shape);
      default:
        throw new InputException("a tensor of type `" + given.type + "` is not taken");
    }
  }

  @Override
  public void close() {
    module.destroy();
  }
}
