package com.facebook.soloader.nativeloader;

/** Stands in for the library's delegate to the system. */
public final class SystemDelegate implements NativeLoaderDelegate {}
