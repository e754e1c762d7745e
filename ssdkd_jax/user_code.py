import importlib.util


def is_user_code(text):
    return ".py:" in str(text)


def load_object(text):
    path, _, name = text.rpartition(":")
    spec = importlib.util.spec_from_file_location("user_code_" + str(abs(hash(path))), path)
    m = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(m)
    return getattr(m, name)
