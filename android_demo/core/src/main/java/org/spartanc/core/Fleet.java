package org.spartanc.core;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The part of a manifest that says which tasks a shared program takes. */
final class Fleet {
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
      for (Object size : shape) {
        if (!(size instanceof Long || size instanceof String)) {
          throw new InputException(fields.where() + ": `shape` holds neither a number nor a word");
        }
      }
    }
  }

  final String backbone;
  final String quantization;
  final Map<String, long[]> bounds = new LinkedHashMap<>();
  final List<Input> inputs = new ArrayList<>();
  /** Names of tasks and of their files. */
  final Map<String, String> tasks;

  Fleet(Fields fields) throws InputException {
    backbone = fields.object("backbone").text("digest");
    quantization = fields.text("quantization");
    for (String name : BOUNDED) {
      long[] two = fields.object("bounds").integers(name);
      if (two.length != 2 || two[0] < 1 || two[1] < two[0]) throw new InputException(fields.where() + ": bounds of " + name);
      bounds.put(name, two);
    }
    for (Object each : fields.list("inputs")) inputs.add(new Input(Fields.of(each, fields.where() + ", `inputs`")));
    Map<String, String> files = new LinkedHashMap<>();
    Fields rows = fields.object("tasks");
    for (String name : rows.names()) files.put(name, rows.object(name).text("file"));
    tasks = Collections.unmodifiableMap(files);
  }

  /** What a word in a shape stands for. */
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
