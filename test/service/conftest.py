from ros.conftest import ct_path, scene

__all__ = ['ct_path', 'scene']
