package org.spartanc.core;

/** Something that came from outside is wrong; the message says what, for the person who reads the screen. */
public final class InputException extends Exception {
  private static final long serialVersionUID = 1L;

  public InputException(String message) {
    super(message);
  }

  public InputException(String message, Throwable cause) {
    super(message, cause);
  }
}
