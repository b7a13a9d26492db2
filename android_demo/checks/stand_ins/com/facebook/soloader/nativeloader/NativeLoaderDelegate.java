package com.facebook.soloader.nativeloader;

/** Stands in for the library's interface, of which only the name is asked here. */
public interface NativeLoaderDelegate {}
