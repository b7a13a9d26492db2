package com.facebook.jni;

import com.facebook.soloader.nativeloader.NativeLoader;

/** Stands in for fbjni's: holds the pointer to an object in native memory, which libfbjni sets. */
public class HybridData {
  static {
    NativeLoader.loadLibrary("fbjni");
  }

  private final Destructor mDestructor = new Destructor();

  public void resetNative() {
    mDestructor.release();
  }

  public boolean isValid() {
    return mDestructor.mNativePointer != 0;
  }

  /** Owns the pointer; libfbjni reads and writes the field by its name. */
  public static class Destructor {
    private volatile long mNativePointer;

    private void release() {
      long pointer = mNativePointer;
      mNativePointer = 0;
      if (pointer != 0) deleteNative(pointer);
    }

    static native void deleteNative(long pointer);
  }
}
