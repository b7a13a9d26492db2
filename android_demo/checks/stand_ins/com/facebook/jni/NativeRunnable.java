package com.facebook.jni;

/** Stands in for fbjni's: a C++ function as a Runnable. */
public class NativeRunnable implements Runnable {
  private final HybridData mHybridData;

  private NativeRunnable(HybridData hybridData) {
    mHybridData = hybridData;
  }

  @Override
  public native void run();
}
