package org.spartanc.demo;

import android.content.res.AssetManager;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.List;
import org.spartanc.core.Source;

/** The files of one folder of the app's assets. */
final class AssetSource implements Source {
  private final AssetManager assets;
  private final String root;

  AssetSource(AssetManager assets, String root) {
    this.assets = assets;
    this.root = root;
  }

  @Override
  public List<String> names() throws IOException {
    List<String> names = new ArrayList<>();
    gather("", names);
    return names;
  }

  private void gather(String folder, List<String> names) throws IOException {
    for (String child : assets.list(folder.isEmpty() ? root : root + "/" + folder)) {
      String name = folder.isEmpty() ? child : folder + "/" + child;
      // Assets hold no empty folders: what has no children is a file.
      if (assets.list(root + "/" + name).length == 0) names.add(name);
      else gather(name, names);
    }
  }

  @Override
  public InputStream open(String name) throws IOException {
    return assets.open(root + "/" + name, AssetManager.ACCESS_STREAMING);
  }
}
