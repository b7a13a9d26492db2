package com.facebook.jni;

/** Stands in for fbjni's: a C++ exception that reached Java. */
public class CppException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public CppException(String message) {
    super(message);
  }
}
