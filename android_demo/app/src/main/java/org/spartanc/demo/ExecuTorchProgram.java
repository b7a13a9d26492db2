package org.spartanc.demo;

import java.io.File;
import org.pytorch.executorch.EValue;
import org.pytorch.executorch.Module;
import org.pytorch.executorch.Tensor;
import org.spartanc.core.InputException;
import org.spartanc.core.Program;

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
  public float[] run(long[] ids, long[] mask) throws InputException {
    long[] shape = {1, ids.length};
    try {
      EValue[] outputs = module.forward(EValue.from(Tensor.fromBlob(ids, shape)), EValue.from(Tensor.fromBlob(mask, shape)));
      return outputs[0].toTensor().getDataAsFloatArray();
    } catch (RuntimeException e) {
      throw new InputException("the program can't be run: " + e.getMessage(), e);
    }
  }

  @Override
  public void close() {
    module.destroy();
  }
}
