package com.facebook.soloader.nativeloader;

/** Stands in for the library of that name: loads by the system's own means. */
public final class NativeLoader {
  private static NativeLoaderDelegate delegate;

  private NativeLoader() {}

  public static boolean isInitialized() {
    return delegate != null;
  }

  public static void init(NativeLoaderDelegate given) {
    delegate = given;
  }

  public static boolean loadLibrary(String name) {
    System.loadLibrary(name);
    return true;
  }

  public static boolean loadLibrary(String name, int flags) {
    return loadLibrary(name);
  }
}
