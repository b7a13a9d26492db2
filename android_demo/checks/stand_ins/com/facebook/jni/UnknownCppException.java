package com.facebook.jni;

/** Stands in for fbjni's: something was thrown that is no std::exception. */
public class UnknownCppException extends CppException {
  private static final long serialVersionUID = 1L;

  public UnknownCppException() {
    super("unknown");
  }

  public UnknownCppException(String message) {
    super(message);
  }
}
