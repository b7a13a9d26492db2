package com.facebook.jni;

/** Stands in for fbjni's: runs a C++ function with Java's class loader in reach. */
public class ThreadScopeSupport {
  private ThreadScopeSupport() {}

  private static void runStdFunction(long pointer) {
    runStdFunctionImpl(pointer);
  }

  private static native void runStdFunctionImpl(long pointer);
}
