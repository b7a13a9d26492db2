package org.spartanc.core;

/** Takes white space off the ends of a text. */
final class Strip implements Normalizer {
  private final boolean left;
  private final boolean right;

  Strip(Fields fields) throws InputException {
    left = fields.flag("strip_left", true);
    right = fields.flag("strip_right", true);
  }

  @Override
  public String normalize(String text) {
    int start = 0;
    int end = text.length();
    while (left && start < end && Unicode.WHITE.has(text.charAt(start))) start++;
    while (right && start < end && Unicode.WHITE.has(text.charAt(end - 1))) end--;
    return text.substring(start, end);
  }
}
