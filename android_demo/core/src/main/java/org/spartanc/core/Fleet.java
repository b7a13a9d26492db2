package org.spartanc.core;

import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;

/** The part of a manifest that says which tasks a shared program takes. */
final class Fleet {
  static final int MOST_DIMENSIONS = 8;
  static final Pattern TASK_NAME = Pattern.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,63}");
  private static final String[] BOUNDED = {"parents", "cells", "classes"};
  private static final int COLUMNS = 16;

  /** One input of the program after ids and mask; a size is a Long or a word of {@link #size}. */
  static final class Input {
    final String name;
    final String type;
    final List<Object> shape;

    Input(Fields fields) throws InputException {
      name = fields.text("name");
      type = fields.text("dtype");
      shape = fields.list("shape");
      String where = fields.where() + ", `" + Json.shorten(name) + "`";
      if (TaskFile.width(type) == 0) {
        throw new InputException(where + " is of dtype `" + Json.shorten(type) + "`, which no task has");
      }
      if (shape.size() > MOST_DIMENSIONS) throw new InputException(where + " has more than " + MOST_DIMENSIONS + " dimensions");
      for (Object size : shape) {
        boolean isSize = size instanceof Long && (Long) size >= 1 && (Long) size <= Integer.MAX_VALUE;
        if (size instanceof String) size((String) size, 1, 1, 1);
        else if (!isSize) throw new InputException(where + " has the size `" + size + "`, which is neither a count nor a word");
      }
      if (isLayout(name) && !(type.equals("I64") && shape.equals(Collections.singletonList(3L)))) {
        throw new InputException(where + " is not I64 [3], as a layout is");
      }
    }
  }

  final String backbone;
  final String quantization;
  final Map<String, long[]> bounds = new LinkedHashMap<>();
  final List<Input> inputs = new ArrayList<>();
  /** Names of tasks and of their files. */
  final Map<String, String> tasks;

  /** {@code listed} are the files of the manifest. */
  Fleet(Fields fields, Collection<String> listed) throws InputException {
    backbone = fields.object("backbone").digest("digest");
    quantization = fields.word("quantization", Words.QUANTIZATIONS);
    for (String name : BOUNDED) {
      long[] two = fields.object("bounds").integers(name, 1, Integer.MAX_VALUE);
      if (two.length != 2 || two[1] < two[0]) throw new InputException(fields.where() + ": `bounds` of " + name);
      bounds.put(name, two);
    }
    for (Object each : fields.list("inputs")) inputs.add(new Input(Fields.of(each, fields.where() + ", `inputs`")));
    Map<String, String> files = new LinkedHashMap<>();
    Fields rows = fields.object("tasks");
    for (String name : rows.names()) {
      if (!TASK_NAME.matcher(name).matches()) {
        throw new InputException(rows.where() + ": `" + Json.shorten(name) + "` is not a task name");
      }
      String file = rows.object(name).text("file");
      if (!listed.contains(file)) throw new InputException(rows.where() + ": the file of `" + name + "` is not one of `files`");
      files.put(name, file);
    }
    tasks = Collections.unmodifiableMap(files);
  }

  /** Whether the tensor of this name holds parents, cells and top_k. */
  static boolean isLayout(String name) {
    return name.endsWith(".layout");
  }

  /** What a word in a shape means. */
  static long size(String word, long parents, long cells, long classes) throws InputException {
    switch (word) {
      case "parents":
        return parents;
      case "cells":
        return cells;
      case "classes":
        return classes;
      case "children":
        return cells / parents;
      case "blocks":
        return (parents + cells + COLUMNS - 1) / COLUMNS;
      case "parent_blocks":
        return (parents + COLUMNS - 1) / COLUMNS;
      case "cell_blocks":
        return (cells + COLUMNS - 1) / COLUMNS;
      case "cell_columns":
        return (cells + COLUMNS - 1) / COLUMNS * COLUMNS;
      default:
        throw new InputException("the manifest has a size `" + Json.shorten(word) + "`, which is not known");
    }
  }
}
