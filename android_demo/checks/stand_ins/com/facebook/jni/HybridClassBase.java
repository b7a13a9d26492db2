package com.facebook.jni;

/** Stands in for fbjni's base of classes that are their own holder. */
public abstract class HybridClassBase extends HybridData {}
