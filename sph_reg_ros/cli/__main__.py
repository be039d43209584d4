"""`python -m sph_reg_ros.cli`, for where the sph-reg executable is not on the path."""

from sph_reg_ros.cli.app import main

if __name__ == '__main__':
    main()
