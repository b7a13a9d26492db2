package com.facebook.jni;

/** Stands in for fbjni's: std::system_error with its code. */
public class CppSystemErrorException extends CppException {
  private static final long serialVersionUID = 1L;
  final int errorCode;

  public CppSystemErrorException(String message, int errorCode) {
    super(message);
    this.errorCode = errorCode;
  }
}
