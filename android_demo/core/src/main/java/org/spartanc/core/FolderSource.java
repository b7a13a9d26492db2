package org.spartanc.core;

import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.List;

/** The files of a folder. */
public final class FolderSource implements Source {
  private static final int DEEPEST = 16;
  private final File root;

  public FolderSource(File root) {
    this.root = root;
  }

  @Override
  public List<String> names() throws IOException {
    List<String> names = new ArrayList<>();
    gather(root, "", names, 0);
    return names;
  }

  private static void gather(File folder, String prefix, List<String> names, int depth) throws IOException {
    File[] files = folder.listFiles();
    if (files == null || depth > DEEPEST) throw new IOException("`" + folder.getName() + "` can't be listed");
    for (File file : files) {
      String name = prefix + file.getName();
      if (file.isDirectory()) gather(file, name + "/", names, depth + 1);
      else names.add(name);
    }
  }

  @Override
  public InputStream open(String name) throws IOException {
    return new FileInputStream(new File(root, name));
  }

  @Override
  public Source below(String folder) {
    return new FolderSource(new File(root, folder));
  }
}
