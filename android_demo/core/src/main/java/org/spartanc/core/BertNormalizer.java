package org.spartanc.core;

/** BERT's: clean text, spaces round CJK characters, accents stripped, lower case; each as tokenizer.json has it. */
final class BertNormalizer implements Normalizer {
  private final boolean cleanText;
  private final boolean spaceChinese;
  private final boolean lowercase;
  private final boolean stripAccents;

  BertNormalizer(Fields fields) throws InputException {
    cleanText = fields.flag("clean_text", true);
    spaceChinese = fields.flag("handle_chinese_chars", true);
    lowercase = fields.flag("lowercase", true);
    stripAccents = fields.flag("strip_accents", lowercase);
  }

  @Override
  public String normalize(String text) {
    StringBuilder result = new StringBuilder(text.length() + 16);
    for (int i = 0, c; i < text.length(); i += Character.charCount(c)) {
      c = text.codePointAt(i);
      if (cleanText && Unicode.REMOVED.has(c)) continue;
      if (cleanText && Unicode.SPACE.has(c)) result.append(' ');
      else if (spaceChinese && Unicode.CJK.has(c)) result.append(' ').appendCodePoint(c).append(' ');
      else result.appendCodePoint(c);
    }
    String normal = result.toString();
    if (stripAccents) normal = withoutMarks(Unicode.decompose(normal));
    return lowercase ? Unicode.lower(normal) : normal;
  }

  private static String withoutMarks(String text) {
    StringBuilder result = new StringBuilder(text.length());
    for (int i = 0, c; i < text.length(); i += Character.charCount(c)) {
      c = text.codePointAt(i);
      if (!Unicode.MARK.has(c)) result.appendCodePoint(c);
    }
    return result.toString();
  }
}
